package liveshop.bench;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/** The counts of one session and window. */
public class Counts {
    public static final int BYTES = 5 * Long.BYTES;

    public long views;
    public long productClicks;
    public long comments;
    public long ordersPaid;
    public long gmv;
    /** The events counted so far, where exact repeats are to be told: filled only by {@link #isNew}. */
    public Map<Long, Boolean> ids = new HashMap<>();

    public boolean isNew(Event event) {
        return ids.put(event.id, true) == null;
    }

    public Counts add(Event event) {
        switch (event.what) {
            case "enter" -> views++;
            case "product_click" -> productClicks++;
            case "comment" -> comments++;
            case "paid" -> {
                ordersPaid++;
                gmv += event.amount;
            }
            default -> { }
        }
        return this;
    }

    public byte[] toBytes() {
        ByteBuffer buffer = ByteBuffer.allocate(BYTES);
        return buffer.putLong(views).putLong(productClicks).putLong(comments).putLong(ordersPaid).putLong(gmv).array();
    }

    public static Counts fromBytes(byte[] bytes) {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        Counts counts = new Counts();
        counts.views = buffer.getLong();
        counts.productClicks = buffer.getLong();
        counts.comments = buffer.getLong();
        counts.ordersPaid = buffer.getLong();
        counts.gmv = buffer.getLong();
        return counts;
    }

    /** The record of a closed window. */
    public byte[] toJson(String session, long start) {
        String json = "{\"session_id\":\"" + session + "\",\"start\":" + start + ",\"views\":" + views
            + ",\"product_clicks\":" + productClicks + ",\"comments\":" + comments
            + ",\"orders_paid\":" + ordersPaid + ",\"gmv\":" + gmv + "}";
        return json.getBytes(StandardCharsets.UTF_8);
    }
}
