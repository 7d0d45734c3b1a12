"""What differs between the three tasks."""
