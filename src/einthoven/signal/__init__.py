"""What an ECG says: quality, filters, beats, classes, rhythm, intervals, variability. No I/O."""
