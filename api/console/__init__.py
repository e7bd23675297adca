"""Pages for people in a browser: log-in, and every URL of the API as a page, made of what describes it to programs."""
