// Sets the picked colours before anything is painted; nothing else may stand here, since the page waits for it.
try {
  const picked = localStorage.getItem("theme");
  if (picked === "light" || picked === "dark") document.documentElement.dataset.theme = picked;
} catch {
  // Storage may be forbidden: then it is as the system has it.
}
