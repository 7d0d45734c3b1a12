"""Images to evaluate on: folders of data sets, drawn scenes, photos."""
