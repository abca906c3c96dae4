// Sockets over Asio's reactor. Private to io/linux.
#pragma once

#include "io/linux/linux_loop.h"

namespace odradek::io {

Result<std::unique_ptr<Listener>> open_listener(LinuxLoop& loop, const Endpoint& at,
                                                bool shared_port, const LinuxOptions& options,
                                                Net::OnAccept on_accept);

void connect_socket(LinuxLoop& loop, const Endpoint& to,
                    Completion<Result<std::unique_ptr<Socket>>>& done);

/// Takes over a connected, non-blocking descriptor.
std::unique_ptr<Socket> adopt_socket(LinuxLoop& loop, boost::asio::ip::tcp::socket socket,
                                     Endpoint peer);

}  // namespace odradek::io
