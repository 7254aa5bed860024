"""What a program calls: `Resonate`, registered functions and handles. Internal."""
