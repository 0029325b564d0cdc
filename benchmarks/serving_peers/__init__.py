"""The same models behind public serving tools, in an environment each, and behind the least Python that serves."""
