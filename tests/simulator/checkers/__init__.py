"""What must be true of every run; each checker is an object of its own."""
