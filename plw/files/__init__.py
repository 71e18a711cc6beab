"""Files and folders: written whole or not at all, read strictly, hashed, sealed, put at an address."""
