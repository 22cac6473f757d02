"""One file per stage: configuration and input artifacts in, one artifact out; the only place where domains meet."""
