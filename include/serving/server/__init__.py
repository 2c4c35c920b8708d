"""The program that serves one Bento in one process; the runner or a container starts it."""
