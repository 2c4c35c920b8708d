"""The container engine, the images, and the Compose project of this repository."""
