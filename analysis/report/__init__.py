"""The report of a study: one HTML page, and the files of its tables and figures."""
