"""What runs Churnflow elsewhere: the chart, the Compose file, the images and the workflows."""
