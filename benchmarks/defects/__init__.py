"""Recognition of defects, against crystals that training never saw; see __main__.py."""
