"""Sockets of a rig, all day: an armed job, boards that come and go, a word for each. Burns nothing itself."""
