"""The data package: files of records in, token arrays with roles and a table row of statistics out."""
