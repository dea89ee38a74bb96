use crate::domain::access_token::Claims;

/// Signs access tokens and reads them: JWT with ed25519, and nothing else.
pub trait AccessTokens: Send + Sync {
    /// The public half of a key, base64url.
    fn public_half(&self, seed: &[u8; 32]) -> String;

    /// A token that says this, signed with the key of this name.
    fn sign(&self, claims: &Claims, kid: &str, seed: &[u8; 32]) -> String;

    /// The name of the key that a token says it is signed with. Nothing when it is no token of ours.
    fn kid(&self, token: &str) -> Option<String>;

    /// What a token says, if the key with this public half signed it. Its times are not looked at.
    fn read(&self, token: &str, public: &str) -> Option<Claims>;
}
