// DeleteTopics (20), versions 1-6. The controller decides, delete.topic.enable included.
//
// 5: error messages. 6: topics by name or by id.
#include "server/handlers/forward.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

io::Task<void> handle_delete_topics(Request& request) { return forward_to_controller(request); }

}  // namespace odradek::server
