"""Pure planning: what a resource's inputs mean, without Pulumi and without changing anything."""
