"""One file for each family of logs. Each says which records or documents are its own, and counts them."""
