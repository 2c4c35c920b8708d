"""The program that serves one Bento: one process, started by the runner or as a container's command."""
