"""What the registry asks its database: functions of a `Session`, by subject."""
