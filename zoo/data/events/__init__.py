"""Events of users and items, such as purchases and ratings."""
