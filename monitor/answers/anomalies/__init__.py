"""What is unusual in the log, and next to what: unusually dear, slow or failing rounds and sessions."""
