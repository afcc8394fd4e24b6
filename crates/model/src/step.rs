//! What is done to reach a place and use it, for tests of endpoints and for errors that say which of it failed.

use crate::connection::words;

words! {
    /// A step of a test.
    Step {
        /// The host's address is found.
        Name = "name",
        /// The proxy is reached, and opens a tunnel to the host.
        Proxy = "proxy",
        /// The SSH jump host lets us in.
        Jump = "jump host",
        /// A TCP connection is made.
        Tcp = "tcp",
        /// TLS is agreed on, and the server's certificate trusted.
        Tls = "tls",
        /// The SSH key exchange is done, and the server's host key trusted.
        HostKey = "host key",
        /// The server lets us in.
        Login = "login",
        /// The directory is listed.
        List = "list",
        /// What the flow ignores of the listing, and why.
        Ignored = "ignored",
        /// The first file that would be taken is opened.
        Open = "open",
        /// A file is written.
        Write = "write",
        /// The file is published.
        Publish = "publish",
        /// It is deleted.
        Delete = "delete",
        /// Keys and certificates are there and valid.
        Keys = "keys",
        /// The server is reached, with all that the transport does before it sends anything.
        Connection = "connection",
        /// The server answers a harmless question.
        Answer = "answer",
        /// The server takes a message: its HTTP status is one of success.
        Status = "status",
        /// The partner's receipt comes, and says yes.
        Receipt = "receipt",
        /// The receipt's signature is the partner's.
        Signature = "signature",
        /// The receipt names the content that was sent (MIC).
        Mic = "mic",
    }
}
