"""Quality: typed rows, Great Expectations suites, the quarantine of refused rows, and the gate of each table."""
