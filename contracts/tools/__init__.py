"""What turns `contracts/src` into `contracts/artifacts`."""
