"""Values that nobody thought of, over a real socket: no 500, no hang, no lost usage. Seeded: the same run each time."""
