"""What a person may ask of the platform: see, correct the use of, restrict, and erase the data."""
