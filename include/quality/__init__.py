"""Quality: typed rows, Great Expectations suites, quarantine for refused rows, and the gate that stops a bad day."""
