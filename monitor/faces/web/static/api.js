"use strict";
// Shows the description of the API; requests go to where it came from.
SwaggerUIBundle({
  url: document.getElementById("api").dataset.url,
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
  syntaxHighlight: { activated: false },
});
