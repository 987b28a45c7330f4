"""The API: each endpoint described once, as types, from which both its checks and the OpenAPI document come."""
