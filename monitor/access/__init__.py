"""Who may see what: tokens, and links that open one session."""
