"""Pictures, pages and bundles: what a history of a host looks like to somebody who must be persuaded."""
