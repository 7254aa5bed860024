"""Import of Lambda handlers anew when their sources change: `resonate dev --reload`."""
