"""Row files, and the exact search of them."""
