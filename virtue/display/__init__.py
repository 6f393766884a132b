"""What people see: the console, the HTML report, pictures in a terminal."""
