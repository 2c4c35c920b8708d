"""A stand-in for a Kubernetes cluster: an HTTP server that speaks its API, and runs a pod's command as a process."""
