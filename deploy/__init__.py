"""What an operator edits: the local stack, migrations, images and manifests."""
