"""What all programs of this project have in common: options, help, errors, status, terminals."""
