from resonate_store.model.servers import ServerSettings


def test_headers_of_a_token_are_a_bearer_token() -> None:
    assert ServerSettings("u", "u", token="t").headers == {"Authorization": "Bearer t"}
    assert ServerSettings("u", "u").headers == {}


def test_headers_of_a_password_are_basic_authentication() -> None:
    assert ServerSettings("u", "u", auth=("user", "secret")).headers == {"Authorization": "Basic dXNlcjpzZWNyZXQ="}
