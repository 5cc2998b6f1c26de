"""The drawn worlds whose truth is known: scenes, captions, rendering and judges."""
