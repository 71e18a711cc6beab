"""The words of the command line: one module a family of commands, each imported where heavy work begins."""
