"""Where rounds come from: each module turns one kind of record into `Round`s."""
