"""All stages from images to a submission, one after another."""
