// UpdateFeatures (57), versions 0-2. The controller decides.
//
// 1: upgrade types, validate only. 2: no results per feature: all change or none.
#include "server/handlers/forward.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

io::Task<void> handle_update_features(Request& request) { return forward_to_controller(request); }

}  // namespace odradek::server
