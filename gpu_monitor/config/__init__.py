"""config.yml: the file, its keys and values, and the settings of each role."""
