"""From a trained model to a registered one, and to the champion."""
