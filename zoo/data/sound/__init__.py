"""Sound: files of samples, resampling, clips of one length, long recordings."""
