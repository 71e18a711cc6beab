"""Tables of a study, and how they are written: CSV, Markdown, LaTeX."""
