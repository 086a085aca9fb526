"""What changes an agent safely: releases, and the evaluations that go with them."""
