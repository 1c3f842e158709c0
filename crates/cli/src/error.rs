//! How a tool ends when it does not end well.

use ottla_client::ClientError;

use crate::output;

/// How a tool ends early: what it says, where, and its exit code.
#[derive(Debug)]
pub enum ToolError {
    /// Wrong use: a message and the options on standard error, exit code 1.
    Usage {
        message: String,
        help: String,
    },
    /// A message on standard error, exit code 1.
    Message(String),
    /// Everything has been said.
    Exit(i32),
    Client(ClientError),
}

pub type ToolResult = Result<(), ToolError>;

impl ToolError {
    pub fn message(text: impl Into<String>) -> ToolError {
        ToolError::Message(text.into())
    }

    /// Says what has to be said; gives the exit code.
    pub fn report(&self) -> i32 {
        match self {
            ToolError::Usage { message, help } => output::error(message, help),
            ToolError::Message(text) => output::error(text, ""),
            ToolError::Client(error) => output::error(&error.to_string(), ""),
            ToolError::Exit(code) => return *code,
        }
        1
    }

    /// What went wrong, in one line.
    pub fn text(&self) -> String {
        match self {
            ToolError::Usage { message, .. } | ToolError::Message(message) => message.clone(),
            ToolError::Exit(code) => format!("exit code {code}"),
            ToolError::Client(error) => error.to_string(),
        }
    }
}

impl From<ClientError> for ToolError {
    fn from(error: ClientError) -> ToolError {
        ToolError::Client(error)
    }
}
